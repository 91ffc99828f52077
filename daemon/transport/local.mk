# daemon/transport
