# daemon/dirty
