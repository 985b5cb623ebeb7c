# Each target is one line of the command line, so that nobody needs make.
PYTHON ?= python3
ABLATION = runs/ablation_phantoms

.PHONY: demo ui test soak check reference report ablation

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

reference:
	$(PYTHON) . docs reference

report:
	$(PYTHON) . evaluate --demonstration

bench-segmentation:
	$(PYTHON) . bench segmentation $(if $(TRACINGS),--tracings "$(TRACINGS)")

bench-%:
	$(PYTHON) . bench $*

# Two hours on two cores; stopped, it goes on where it was.
ablation:
	$(PYTHON) . dataset phantoms $(ABLATION) --patients 120 --frames 2 --seed 40
	$(PYTHON) . ablate training/configs/ablation.toml --rivals gan scratch
