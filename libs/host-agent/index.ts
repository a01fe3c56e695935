export { type ContainerAgents, createContainerAgents } from "./container-agents.ts";
export type { AgentAction, AgentClient, HostAgents, StepContext, WorkloadOnHost } from "./host-agents.ts";
export { createHostManifests, type HostManifests } from "./host-manifests.ts";
export { followObservations } from "./nats-observations.ts";
export { createHostAgents, type HostAgentsDeps } from "./rpc-host-agents.ts";
