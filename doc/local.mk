# doc/findings.md is made from the table of findings, and kept in the tree for those who only read.
check_PROGRAMS += doc/make-findings
doc_make_findings_SOURCES = doc/make-findings.c
doc_make_findings_LDADD = libmigd.la
dist_doc_DATA += doc/costs.md doc/findings.md doc/integration.md

update-findings: doc/make-findings
	doc/make-findings >$(srcdir)/doc/findings.md.new
	mv $(srcdir)/doc/findings.md.new $(srcdir)/doc/findings.md
.PHONY: update-findings
