import { jobStateContract } from "./job-state.contract.ts";
import { MemoryJobState } from "./memory-job-state.ts";

jobStateContract("MemoryJobState", async () => {
  const jobState = new MemoryJobState();
  return { jobState, forget: async () => jobState.flush() };
});
