# daemon/memory
