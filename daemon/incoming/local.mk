# daemon/incoming
