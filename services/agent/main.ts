import { runService } from "#libs/lifecycle";
import { readAgentConfig } from "./config.ts";
import { startAgent } from "./service.ts";

const config = readAgentConfig();
await runService(async (lifecycle) => {
  await startAgent(config, lifecycle);
});
