libmigd_la_SOURCES += \
	daemon/migration/configured.c daemon/migration/configured.h \
	daemon/migration/dialogue.c daemon/migration/dialogue.h \
	daemon/migration/ended.c daemon/migration/ended.h \
	daemon/migration/findings-json.c daemon/migration/findings-json.h \
	daemon/migration/journal.c daemon/migration/journal.h \
	daemon/migration/migration.c daemon/migration/migration.h \
	daemon/migration/options.c daemon/migration/options.h \
	daemon/migration/record.c daemon/migration/record.h
