export type { Job, JobContext, JobOutput, Outcome, ProgressUpdate, Step } from "./job.ts";
