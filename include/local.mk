noinst_HEADERS = \
	include/migd-bus.h include/migd-errors.h include/migd-findings.h include/migd-messages.h include/migd-states.h include/migd-status.h include/migd-wire.h \
	include/vfio-user.h

# The interfaces, installed where D-Bus tools look for them.
dbusinterfacesdir = $(datadir)/dbus-1/interfaces
dist_dbusinterfaces_DATA = include/org.migd.Migd1.xml
