import {
  type Container,
  RestartPolicy,
  type RestartPolicy_Mode,
  type UpdateContainerRequest,
} from "#contracts/container/v1/container";
import { type CheckpointType, Recovery } from "#contracts/vm/v1/vm";
import type { Folded } from "#libs/workloads";
import { containerEvent } from "./container-record.ts";

/** The container with another restart policy, as its host has it by now. */
export function changeRestart(container: Container, restart: RestartPolicy): Folded<Container> {
  const { spec } = container;
  if (spec === undefined || isSame(spec.restart, restart)) return { body: container, events: [] };
  const told = (policy: RestartPolicy | undefined) => (policy === undefined ? {} : RestartPolicy.toJSON(policy));
  const event = containerEvent("restart_policy_changed", container, { from: told(spec.restart), to: told(restart) });
  return { body: { ...container, spec: { ...spec, restart } }, events: [event] };
}

/** The container with another recovery, as its host has it by now. */
export function changeRecovery(container: Container, recovery: Recovery): Folded<Container> {
  const { spec } = container;
  const from = recoveryOf(spec?.recovery);
  const to = recoveryOf(recovery);
  if (spec === undefined || from === to) return { body: container, events: [] };
  const event = containerEvent("recovery_changed", container, { from, to });
  return { body: { ...container, spec: { ...spec, recovery: to } }, events: [event] };
}

/** What is unsaid is none. */
const recoveryOf = (asked: Recovery | undefined): Recovery =>
  asked === undefined || asked === Recovery.UNSPECIFIED ? Recovery.NONE : asked;

/** The container with other settings, of which its host need not know; undefined when those are what it has. */
export function changeSettings(
  container: Container,
  {
    checkpointType,
    labels,
    recoveryPoint,
  }: Pick<UpdateContainerRequest, "checkpointType" | "labels" | "recoveryPoint">,
): Folded<Container> | undefined {
  const typed = changeCheckpointType(container, checkpointType);
  const pointed = changeRecoveryPoint(typed.body, recoveryPoint);
  const labelled = changeLabels(pointed.body, labels);
  const events = [...typed.events, ...pointed.events, ...labelled.events];
  return events.length === 0 ? undefined : { body: labelled.body, events };
}

function changeCheckpointType(container: Container, to: CheckpointType | undefined): Folded<Container> {
  const { spec } = container;
  if (spec === undefined || to === undefined || spec.checkpointType === to) return { body: container, events: [] };
  const event = containerEvent("checkpoint_type_changed", container, { from: spec.checkpointType, to });
  return { body: { ...container, spec: { ...spec, checkpointType: to } }, events: [event] };
}

function changeRecoveryPoint(
  container: Container,
  recoveryPoint: UpdateContainerRequest["recoveryPoint"],
): Folded<Container> {
  const { spec } = container;
  const isSameLength = spec?.recoveryPoint?.seconds === recoveryPoint?.seconds;
  if (spec === undefined || recoveryPoint === undefined || isSameLength) return { body: container, events: [] };
  const event = containerEvent("policies_changed", container, { recoveryPointSeconds: recoveryPoint.seconds });
  return { body: { ...container, spec: { ...spec, recoveryPoint } }, events: [event] };
}

function changeLabels(container: Container, change: Readonly<Record<string, string>>): Folded<Container> {
  const labels = labelsAfter(container.labels, change);
  const isTheSame = JSON.stringify(sorted(labels)) === JSON.stringify(sorted(container.labels));
  if (isTheSame) return { body: container, events: [] };
  return { body: { ...container, labels }, events: [containerEvent("labels_changed", container, { labels })] };
}

/** Labels are set, or with an empty value removed. */
export function labelsAfter(
  labels: Readonly<Record<string, string>>,
  change: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries({ ...labels, ...change }).filter(([key]) => change[key] !== ""));
}

const sorted = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));

const isSame = (a: RestartPolicy | undefined, b: RestartPolicy): boolean =>
  (a?.mode ?? ("MODE_UNSPECIFIED" satisfies RestartPolicy_Mode)) === b.mode && (a?.maxRetries ?? 0) === b.maxRetries;
