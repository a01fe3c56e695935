import { runService } from "#libs/lifecycle";
import { readVmConfig } from "./config.ts";
import { startVm } from "./service.ts";

await runService(async (lifecycle) => {
  const { address } = await startVm(readVmConfig(), lifecycle);
  console.log(`vm listens on ${address}`);
});
