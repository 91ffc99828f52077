# daemon/device
