# `make help` lists what there is. Every target that runs something first installs what is missing.
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests guest demo cluster test test-faults check bench clean

NODE := node_modules/.bin/node

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## install what is missing, say what, generate the contracts
	@deploy/setup.sh

setup-tests: ## the same, and what only the tests need
	@deploy/setup.sh tests

guest: setup ## build the test guest (cached)
	@$(NODE) test/guest/build.ts

demo: guest ## the main job on real guests
	@$(NODE) test/demo/demo.ts

cluster: setup-tests guest ## the main job on three hosts and replicas of everything, in network namespaces; as root; ARGS=--keep lets it stay
	@$(NODE) test/demo/cluster.ts $(ARGS)

test: setup-tests guest ## all tests but the long fault suite; ARGS go to vitest
	@npm test --silent -- $(ARGS)

test-faults: setup-tests guest ## the long fault suite, about an hour and a half; ARGS=--plan tells, ARGS="F7 lease" runs some
	@npm run --silent test:faults -- $(ARGS)

check: setup ## types, format, lint, import rules, unused code, contracts
	@npm run --silent check

bench: guest ## one benchmark: make bench NAME=operations
	@npm run --silent bench -- $(NAME)

clean: ## remove what was installed and generated here
	rm -rf node_modules libs/contracts
