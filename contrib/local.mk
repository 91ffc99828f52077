include contrib/simdev/local.mk
include contrib/examples/common/local.mk
include contrib/examples/kvm-vmm/local.mk
include contrib/examples/workload/local.mk
include contrib/completions/local.mk
include contrib/libvirt-hook/local.mk
dist_pkgdata_SCRIPTS = contrib/make-test-ca
EXTRA_DIST += contrib/migd.spec contrib/make-packages contrib/debian/changelog contrib/debian/control contrib/debian/copyright contrib/debian/migd-simdev.docs \
	contrib/debian/migd-simdev.install contrib/debian/migd.install contrib/debian/migd.postrm contrib/debian/migd.prerm contrib/debian/rules contrib/debian/source/format
