# All daemon code but main.c is one convenience library, which the tests link too.
noinst_LTLIBRARIES += libmigd.la
libmigd_la_SOURCES =
libmigd_la_LIBADD = $(EVENT_LIBS) $(JSON_LIBS) $(SYSTEMD_LIBS) $(XXHASH_LIBS) $(CODEC_LIBS) $(INIH_LIBS) $(OPENSSL_LIBS)

include daemon/base/local.mk
include daemon/loop/local.mk
include daemon/config/local.mk
include daemon/device/local.mk
include daemon/memory/local.mk
include daemon/vfio/local.mk
include daemon/vfio-user/local.mk
include daemon/dirty/local.mk
include daemon/vmm/local.mk
include daemon/domain/local.mk
include daemon/host/local.mk
include daemon/transport/local.mk
include daemon/migration/local.mk
include daemon/check/local.mk
include daemon/outgoing/local.mk
include daemon/incoming/local.mk
include daemon/libvirt/local.mk
include daemon/api/local.mk
include daemon/metrics/local.mk

sbin_PROGRAMS = migd
migd_SOURCES = daemon/main.c daemon/service.c daemon/service.h daemon/recover.c daemon/recover.h
migd_LDADD = libmigd.la
