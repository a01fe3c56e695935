import { systemClock } from "#libs/clock";
import { logContract } from "./log.contract.ts";
import { createMemoryLog } from "./memory-log.ts";

logContract("MemoryLog", async () => createMemoryLog(systemClock));
