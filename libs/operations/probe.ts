import type { Job } from "./job.ts";

/** An operation that does nothing: shows that the whole path of a job works, and how fast. */
export const probeJob: Job = {
  kind: "operation.probe",
  steps: [{ name: "nothing", run: async () => undefined }],
};
