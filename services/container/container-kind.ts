import { Container, ContainerState } from "#contracts/container/v1/container";
import { parseContainerName } from "#libs/names";
import type { WorkloadKind } from "#libs/workloads";
import { foldWorkload } from "./container-record.ts";
import { refusal } from "./domain/container-state.ts";

/** Containers, to the parts that all workloads share. */
export const containerKind: WorkloadKind<Container> = {
  word: "container",
  noun: "container",
  codec: Container,
  states: {
    deleting: ContainerState.DELETING,
    failed: ContainerState.FAILED,
    running: ContainerState.RUNNING,
    stopped: ContainerState.STOPPED,
  },
  reasons: {
    missing: "CONTAINER_NOT_FOUND",
    exists: "CONTAINER_EXISTS",
    state: "CONTAINER_STATE",
    hasCheckpoints: "CONTAINER_HAS_CHECKPOINTS",
    hasProtected: "CONTAINER_HAS_PROTECTED",
  },
  projectOf: (name) => parseContainerName(name).project,
  refusal,
  isFollowed: true,
  fold: foldWorkload,
};
