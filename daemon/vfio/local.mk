# daemon/vfio
libmigd_la_SOURCES += \
	daemon/vfio/container.c daemon/vfio/container.h \
	daemon/vfio/container-new.c \
	daemon/vfio/device-feature.c daemon/vfio/device-private.h \
	daemon/vfio/device-learn.c \
	daemon/vfio/device-log.c \
	daemon/vfio/device-state.c \
	daemon/vfio/device.c daemon/vfio/device.h \
	daemon/vfio/iommufd-container.c daemon/vfio/iommufd-uapi.h \
	daemon/vfio/iommufd.c daemon/vfio/iommufd.h \
	daemon/vfio/kernel.c daemon/vfio/kernel.h \
	daemon/vfio/open-failed.c \
	daemon/vfio/open-iommufd.c \
	daemon/vfio/open-legacy.c \
	daemon/vfio/open-refuse.c daemon/vfio/open-refuse.h \
	daemon/vfio/open-target.c daemon/vfio/open-target.h \
	daemon/vfio/open.c daemon/vfio/open.h \
	daemon/vfio/sysfs.c daemon/vfio/sysfs.h \
	daemon/vfio/type1.c daemon/vfio/vfio-uapi.h
