import { type AccountRecord, RepositoryAction, type RepositoryRight } from "#contracts/registry/v1/accounts";
import type { Grant, Principal, Verb } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { isRepository } from "#libs/oci";

/** An action as tokens and `WWW-Authenticate` name it. */
export type Action = "pull" | "push" | "delete";

const verbsOf: Readonly<Record<Action, readonly Verb[]>> = {
  pull: ["get", "list"],
  push: ["create", "update"],
  delete: ["delete"],
};

const actions: Readonly<Partial<Record<RepositoryAction, Action>>> = {
  [RepositoryAction.PULL]: "pull",
  [RepositoryAction.PUSH]: "push",
  [RepositoryAction.DELETE]: "delete",
};

const MAX_RIGHTS = 200;

/** What has to be allowed for a verb on a repository. */
export function actionOf(verb: Verb): Action {
  const action = (["pull", "push", "delete"] as const).find((each) => verbsOf[each].includes(verb));
  if (action === undefined) throw new Error(`repositories know no ${verb}`);
  return action;
}

/** One of the verbs that an action stands for. */
export function verbOf(action: string): Verb | undefined {
  return action === "pull" || action === "push" || action === "delete" ? verbsOf[action][0] : undefined;
}

/** Who an account is, with what it may do. */
export function principalOf({ account }: AccountRecord): Principal {
  const { name = "", kind, rights = [] } = account ?? {};
  return { name, kind: kind === "ACCOUNT_KIND_ROBOT" ? "robot" : "user", grants: rights.map(grantOf) };
}

/** @throws StillpointError ARGUMENT_INVALID */
export function checkRights(rights: readonly RepositoryRight[]): void {
  if (rights.length > MAX_RIGHTS) throw invalid(`an account may have ${MAX_RIGHTS} rights`);
  for (const { repositories, actions: wanted } of rights) {
    const name = repositories.replace(/(^|\/)\*$/, "");
    if (repositories !== "*" && !isRepository(name)) throw invalid(`"${repositories}" names no repositories`);
    if (wanted.length === 0 || wanted.some((action) => actions[action] === undefined)) {
      throw invalid(`the right to ${repositories} lacks an action`);
    }
  }
}

function grantOf({ repositories, actions: granted }: RepositoryRight): Grant {
  const named = granted.map((action) => actions[action]).filter((action) => action !== undefined);
  return { resources: `repositories/${repositories}`, verbs: named.flatMap((action) => verbsOf[action]) };
}

function invalid(message: string): StillpointError {
  return new StillpointError("ARGUMENT_INVALID", message, {
    help: "Write a right as REPOSITORIES:pull,push,delete; REPOSITORIES is a repository, team-a/* or *.",
  });
}
