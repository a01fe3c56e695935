import { systemClock } from "#libs/clock";
import { jobQueueContract } from "./job-queue.contract.ts";
import { MemoryJobQueue } from "./memory-job-queue.ts";

jobQueueContract("MemoryJobQueue", async () => new MemoryJobQueue(systemClock));
