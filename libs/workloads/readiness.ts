import type { Project } from "#contracts/checkpoint/v1/project";
import {
  type CheckpointReadiness,
  type CheckpointStorage,
  CheckpointType,
  type RecoveryPoint,
} from "#contracts/vm/v1/vm";
import { operationName, projectName } from "#libs/names";
import { isMaterialChange, judgeReadiness } from "#libs/readiness";
import type { RecordView, StoredRecord } from "#libs/records";
import { type Folded, type WorkloadBody, type WorkloadKind, workloadEvent } from "./kind.ts";

/** The checkpoint type of the project that a workload belongs to; UNSPECIFIED where nobody has set one. */
export type TypeOfProject = (workload: string) => CheckpointType;

/** What decides over a workload's checkpoints. */
export interface CheckpointPolicy<Body> {
  /** Its own type; UNSPECIFIED for its project's. */
  ownType(body: Body): CheckpointType;
  /** Some of its disks or volumes stay out. */
  excludes(body: Body): boolean;
}

export function typeOfProject<Body extends WorkloadBody>(
  { projectOf }: Pick<WorkloadKind<Body>, "projectOf">,
  projects: Pick<RecordView<Project>, "get">,
): TypeOfProject {
  return (workload) =>
    projects.get(projectName(projectOf(workload)))?.body.checkpointType ?? CheckpointType.UNSPECIFIED;
}

/** What a workload would be recovered from; undefined where nothing is known of that. */
export type PointOf = (workload: string, uid: string) => RecoveryPoint | undefined;

/** What checkpoints of a kind of workload would give, judged by the policy that holds now. */
export class Readiness<Body extends WorkloadBody> {
  readonly #kind: WorkloadKind<Body>;
  readonly #policy: CheckpointPolicy<Body>;
  readonly #inherited: TypeOfProject;
  readonly #pointOf: PointOf;

  constructor(
    kind: WorkloadKind<Body>,
    policy: CheckpointPolicy<Body>,
    { inherited, pointOf }: { readonly inherited: TypeOfProject; readonly pointOf: PointOf },
  ) {
    this.#kind = kind;
    this.#policy = policy;
    this.#inherited = inherited;
    this.#pointOf = pointOf;
  }

  /** What the record's body says, what the record itself knows, and its readiness by the policy that holds now. */
  show({ body, operation, version, time }: StoredRecord<Body>): Body {
    const held = operation === undefined ? "" : operationName(operation);
    const seen = body.checkpointReadiness;
    const judged = seen === undefined ? {} : { checkpointReadiness: this.#judge(body, seen) };
    const recoveryPoint = this.#pointOf(body.name, body.uid);
    return { ...body, operation: held, version, updateTime: time, ...judged, ...(recoveryPoint && { recoveryPoint }) };
  }

  /** The workload with what was seen last; undefined when something newer is known. */
  fold(body: Body, seen: CheckpointReadiness): Folded<Body> | undefined {
    const before = body.checkpointReadiness;
    if (!isNewer(seen, before)) return undefined;
    const readiness = this.#judge(body, seen);
    const folded = { ...body, checkpointReadiness: readiness };
    // The first look is no change.
    if (before === undefined || !isMaterialChange(this.#judge(body, before), readiness)) {
      return { body: folded, events: [] };
    }
    const { policy, outcome, consistency, production, findings } = readiness;
    const data = { policy, outcome, consistency, production, findings: findings.map(({ code }) => code) };
    return { body: folded, events: [workloadEvent(this.#kind, "readiness_changed", body, data)] };
  }

  #judge(body: Body, seen: CheckpointReadiness): CheckpointReadiness {
    const own = this.#policy.ownType(body);
    const type = own === CheckpointType.UNSPECIFIED ? this.#inherited(body.name) : own;
    return judgeReadiness(seen, type, this.#policy.excludes(body));
  }
}

/** The workload with what its checkpoints take; undefined when something newer is known. */
export function foldStorage<Body extends WorkloadBody>(
  body: Body,
  storage: CheckpointStorage,
): Folded<Body> | undefined {
  if (!isNewer(storage, body.checkpointStorage)) return undefined;
  return { body: { ...body, checkpointStorage: storage }, events: [] };
}

const isNewer = (
  one: Pick<CheckpointReadiness, "time">,
  other: Pick<CheckpointReadiness, "time"> | undefined,
): boolean => (one.time?.getTime() ?? 0) > (other?.time?.getTime() ?? 0);
