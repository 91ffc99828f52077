# doc/findings.md is made from the table of findings, and kept in the tree for those who only read.
check_PROGRAMS += doc/make-findings
doc_make_findings_SOURCES = doc/make-findings.c
doc_make_findings_LDADD = libmigd.la
dist_doc_DATA += doc/costs.md doc/findings.md doc/integration.md doc/libvirt.md doc/link.md doc/metrics.md

# So is doc/metrics.md from the table of metrics.
check_PROGRAMS += doc/make-metrics
doc_make_metrics_SOURCES = doc/make-metrics.c
update-metrics: doc/make-metrics
	doc/make-metrics >$(srcdir)/doc/metrics.md.new
	mv $(srcdir)/doc/metrics.md.new $(srcdir)/doc/metrics.md
.PHONY: update-metrics

# And the journal's catalog from the table of messages.
check_PROGRAMS += doc/make-catalog
doc_make_catalog_SOURCES = doc/make-catalog.c
update-catalog: doc/make-catalog
	doc/make-catalog >$(srcdir)/unit/migd.catalog.new
	mv $(srcdir)/unit/migd.catalog.new $(srcdir)/unit/migd.catalog
.PHONY: update-catalog

update-findings: doc/make-findings
	doc/make-findings >$(srcdir)/doc/findings.md.new
	mv $(srcdir)/doc/findings.md.new $(srcdir)/doc/findings.md
.PHONY: update-findings

# So is the page of the interface, from the XML and its comments.
EXTRA_DIST += doc/make-interface-page
dist_man5_MANS = doc/org.migd.Migd1.5 unit/migd.conf.5
update-interface-page:
	$(srcdir)/doc/make-interface-page $(srcdir)/include/org.migd.Migd1.xml $(srcdir)/include/migd-errors.h >$(srcdir)/doc/org.migd.Migd1.5.new
	mv $(srcdir)/doc/org.migd.Migd1.5.new $(srcdir)/doc/org.migd.Migd1.5
.PHONY: update-interface-page
