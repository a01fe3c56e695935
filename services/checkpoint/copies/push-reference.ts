import { parseWorkloadName } from "#libs/names";
import { parseReference } from "#libs/oci";
import { isContainerName } from "../records/workload-record.ts";

/** A repository and a tag in it. */
export interface PushTarget {
  readonly repository: string;
  readonly tag: string;
}

interface Pushed {
  /** Resource name. */
  readonly workload: string;
  readonly uid: string;
  readonly displayName: string;
}

/**
 * Where a checkpoint is pushed to when that is not said: all of a workload into one repository, so that the next sends only
 * what changed, and under its display name as far as a tag may have it.
 */
export function defaultTarget({ workload: name, uid, displayName }: Pushed): PushTarget {
  const { project, workload } = parseWorkloadName(name);
  const folder = isContainerName(name) ? "container-checkpoints" : "checkpoints";
  const repository = project === "default" ? `${folder}/${workload}` : `${folder}/${project}/${workload}`;
  return { repository, tag: tagOf(displayName) ?? uid };
}

/** Without a tag of its own, a reference takes the default's. Fails with NAME_INVALID. */
export function pushTarget(reference: string, checkpoint: Pushed): PushTarget {
  const fallback = defaultTarget(checkpoint);
  if (reference === "") return fallback;
  const { repository, tag, digest } = parseReference(reference);
  const isTagged = /:[^/]*$/.test(reference);
  return { repository, tag: digest === undefined && isTagged && tag !== undefined ? tag : fallback.tag };
}

/** distribution-spec 1.1: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127} */
function tagOf(displayName: string): string | undefined {
  const tag = displayName.replaceAll(/[^a-zA-Z0-9._-]+/g, "-").replace(/^[.-]+/, "");
  return tag === "" ? undefined : tag.slice(0, 128);
}
