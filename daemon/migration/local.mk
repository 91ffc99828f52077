# daemon/migration
