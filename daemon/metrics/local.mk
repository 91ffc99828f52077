# daemon/metrics
