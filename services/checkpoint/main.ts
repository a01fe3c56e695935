import { runService } from "#libs/lifecycle";
import { readCheckpointConfig } from "./config.ts";
import { startCheckpoint } from "./service.ts";

await runService(async (lifecycle) => {
  const { address } = await startCheckpoint(readCheckpointConfig(), lifecycle);
  console.log(`checkpoint listens on ${address}`);
});
