# What the system needs to run migd as a service.
dbussystempolicydir = $(datadir)/dbus-1/system.d
dist_dbussystempolicy_DATA = unit/org.migd.Migd1.conf
dbussystemservicesdir = $(datadir)/dbus-1/system-services
dist_dbussystemservices_DATA = unit/org.migd.Migd1.service
polkitactiondir = $(datadir)/polkit-1/actions
dist_polkitaction_DATA = unit/org.migd.Migd1.policy
pkgsysconfdir = $(sysconfdir)/migd
dist_pkgsysconf_DATA = unit/migd.conf
nodist_systemdsystemunit_DATA = unit/migd.service
dist_systemdsystemunit_DATA = unit/migd.socket unit/migd-metrics.socket
systemdsystempresetdir = $(systemdsystemunitdir)/../system-preset
dist_systemdsystempreset_DATA = unit/90-migd.preset
# What journalctl -x prints; "journalctl --update-catalog" takes it up.
catalogdir = $(prefix)/lib/systemd/catalog
dist_catalog_DATA = unit/migd.catalog
dist_man8_MANS = unit/migd.8
EXTRA_DIST += unit/migd.service.in
CLEANFILES += unit/migd.service

unit/migd.service: unit/migd.service.in
	$(AM_V_GEN)$(MKDIR_P) unit && $(SED) -e 's|@sbindir[@]|$(sbindir)|g' $(top_srcdir)/unit/migd.service.in >$@.tmp && mv $@.tmp $@
