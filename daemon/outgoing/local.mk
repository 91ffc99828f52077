# daemon/outgoing
