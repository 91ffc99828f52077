# daemon/vfio-user
