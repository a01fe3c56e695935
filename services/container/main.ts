import { runService } from "#libs/lifecycle";
import { readContainerConfig } from "./config.ts";
import { startContainer } from "./service.ts";

await runService(async (lifecycle) => {
  const { address } = await startContainer(readContainerConfig(), lifecycle);
  console.log(`container listens on ${address}`);
});
