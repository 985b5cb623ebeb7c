# Each target is one line of the command line, so that nobody needs make.
PYTHON ?= python3

.PHONY: demo ui test soak check report

demo:
	$(PYTHON) . demo $(if $(FRAME),--frame "$(FRAME)")

ui:
	$(PYTHON) . ui

test:
	$(PYTHON) . test

soak:
	$(PYTHON) . soak

check:
	$(PYTHON) . check

report:
	$(PYTHON) . evaluate --demonstration

bench-segmentation:
	$(PYTHON) . bench segmentation $(if $(TRACINGS),--tracings "$(TRACINGS)")

bench-%:
	$(PYTHON) . bench $*
