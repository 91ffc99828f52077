# migctl. Everything but main.c is a convenience library, so that the unit tests can link it.
noinst_LTLIBRARIES += libmigctl.la
libmigctl_la_SOURCES = \
	cli/args.c cli/args.h \
	cli/bus-json.c cli/bus-json.h \
	cli/check-report.c cli/check-report.h \
	cli/bus.c cli/bus.h \
	cli/discover.c cli/discover.h cli/discover-devices.c cli/discover-memory.c \
	cli/discover-view.c cli/discover-view.h \
	cli/domain-check.c \
	cli/domain-fields.c cli/domain-fields.h \
	cli/domain-file.c \
	cli/domain-items.h \
	cli/domain-spec.c cli/domain-spec.h \
	cli/findings-view.c cli/findings-view.h \
	cli/follow.c cli/follow.h \
	cli/foreign-fd.c cli/foreign-fd.h \
	cli/json-util.h \
	cli/libvirt-hook-file.c cli/libvirt-prepare.c cli/libvirt-verbs.h cli/libvirt-xml.c cli/libvirt-xml.h cli/virsh.c cli/virsh.h cli/verb-libvirt.c \
	cli/migration-options.c cli/migration-options.h \
	cli/output.c cli/output.h \
	cli/pick.c cli/pick.h \
	cli/progress.c cli/progress.h \
	cli/register-kernel.c cli/register-kernel.h \
	cli/register-pid.c cli/register-pid.h \
	cli/register-read.c cli/register-read.h \
	cli/remote-bus.c cli/remote-bus.h \
	cli/status-view.c cli/status-view.h \
	cli/suggest.c cli/suggest.h \
	cli/table.c cli/table.h \
	cli/verb-cancel.c cli/verb-check.c cli/verb-config.c cli/verb-devices.c cli/verb-explain.c cli/verb-link-test.c cli/verb-list.c cli/verb-monitor.c cli/verb-open.c cli/verb-register.c cli/verb-release.c \
	cli/verb-resolve.c cli/verb-set.c cli/verb-show.c cli/verb-start.c cli/verb-status.c \
	cli/verb-evacuate.c cli/verbs.h \
	cli/vm.c cli/vm.h \
	cli/wrap.c cli/wrap.h
libmigctl_la_LIBADD = libmigd.la $(LIBXML_LIBS)

bin_PROGRAMS += migctl
migctl_SOURCES = cli/main.c
migctl_LDADD = libmigctl.la $(LIBXML_LIBS)
dist_man1_MANS = cli/migctl.1
