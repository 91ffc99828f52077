if HAVE_CMOCKA
check_PROGRAMS += \
	tests/unit/test-address \
	tests/unit/test-admission \
	tests/unit/test-apply \
	tests/unit/test-channel \
	tests/unit/test-codec \
	tests/unit/test-frame \
	tests/unit/test-full-memory \
	tests/unit/test-link-watch \
	tests/unit/test-page-stream \
	tests/unit/test-populate-beside \
	tests/unit/test-ratelimit \
	tests/unit/test-tls
TESTS += \
	tests/unit/test-address \
	tests/unit/test-admission \
	tests/unit/test-apply \
	tests/unit/test-channel \
	tests/unit/test-codec \
	tests/unit/test-frame \
	tests/unit/test-full-memory \
	tests/unit/test-link-watch \
	tests/unit/test-page-stream \
	tests/unit/test-populate-beside \
	tests/unit/test-ratelimit \
	tests/unit/test-tls
tests_unit_test_address_SOURCES = tests/unit/test-address.c
tests_unit_test_address_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_admission_SOURCES = tests/unit/test-admission.c
tests_unit_test_admission_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_apply_SOURCES = tests/unit/test-apply.c
tests_unit_test_apply_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_channel_SOURCES = tests/unit/test-channel.c
tests_unit_test_channel_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_populate_beside_SOURCES = tests/unit/test-populate-beside.c
tests_unit_test_populate_beside_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_codec_SOURCES = tests/unit/test-codec.c tests/unit/test-random.h
tests_unit_test_codec_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_frame_SOURCES = tests/unit/test-frame.c
tests_unit_test_frame_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_full_memory_SOURCES = tests/unit/test-full-memory.c
tests_unit_test_full_memory_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_link_watch_SOURCES = tests/unit/test-link-watch.c
tests_unit_test_link_watch_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_page_stream_SOURCES = tests/unit/test-page-stream.c
tests_unit_test_page_stream_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_ratelimit_SOURCES = tests/unit/test-ratelimit.c
tests_unit_test_ratelimit_LDADD = libmigd.la $(CMOCKA_LIBS)
tests_unit_test_tls_SOURCES = tests/unit/test-tls.c
tests_unit_test_tls_LDADD = libmigd.la $(CMOCKA_LIBS) $(OPENSSL_LIBS)
endif
