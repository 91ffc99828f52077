include contrib/simdev/local.mk
