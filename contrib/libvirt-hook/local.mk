# libvirt's hook. It sees base/ only, and so is small whatever the daemon grows to.
pkglibexec_PROGRAMS = libvirt-hook
libvirt_hook_SOURCES = \
	contrib/libvirt-hook/libvirt-hook.c \
	daemon/base/clock.c daemon/base/clock.h daemon/base/progress.c daemon/base/progress.h \
	daemon/base/fds.c daemon/base/fds.h \
	daemon/base/parse.c daemon/base/parse.h
libvirt_hook_CPPFLAGS = $(AM_CPPFLAGS) # objects of its own, without libtool
libvirt_hook_LDADD = $(SYSTEMD_LIBS)
