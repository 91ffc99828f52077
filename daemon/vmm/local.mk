# daemon/vmm
