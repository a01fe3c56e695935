import { InvalidArgumentError } from "commander";
import { RepositoryAction, type RepositoryRight } from "#contracts/registry/v1/accounts";

const actions: Readonly<Record<string, RepositoryAction>> = {
  pull: RepositoryAction.PULL,
  push: RepositoryAction.PUSH,
  delete: RepositoryAction.DELETE,
};

/** `team-a/*:pull,push`, added to those before it. */
export function collectRight(text: string, before: readonly RepositoryRight[] = []): RepositoryRight[] {
  const [, repositories, words = ""] = /^([^:\s]+):([a-z,]+)$/.exec(text) ?? [];
  const wanted = words.split(",").map((word) => actions[word]);
  if (repositories === undefined || wanted.some((action) => action === undefined)) {
    throw new InvalidArgumentError("Write REPOSITORIES:pull,push,delete, such as team-a/*:pull,push.");
  }
  return [...before, { repositories, actions: wanted.filter((action) => action !== undefined) }];
}
