export type { Effect, MemoryAgent } from "./memory-agent.ts";
export { digestInTest, hostInTest } from "./stand-ins.ts";
export { startTestControlPlane, type TestControlPlane } from "./test-control-plane.ts";
