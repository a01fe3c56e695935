import { runService } from "#libs/lifecycle";
import { readSchedulerConfig } from "./config.ts";
import { startScheduler } from "./service.ts";

await runService(async (lifecycle) => {
  const { address } = await startScheduler(readSchedulerConfig(), lifecycle);
  console.log(`scheduler listens on ${address}`);
});
