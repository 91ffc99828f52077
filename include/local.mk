noinst_HEADERS = \
	include/migd-errors.h \
	include/vfio-user.h
