import { readFileSync } from "node:fs";
import type { registryLoginConfig } from "./config.ts";

type RegistryLoginConfig = {
  readonly [Name in keyof typeof registryLoginConfig]?: string | undefined;
};

/** The login, its password read from the file where one is named; undefined without a user. */
export function registryLogin(config: RegistryLoginConfig): { user: string; password: string } | undefined {
  const { STILLPOINT_REGISTRY_USER: user, STILLPOINT_REGISTRY_PASSWORD_FILE: file } = config;
  if (user === undefined) return undefined;
  const password = file === undefined ? config.STILLPOINT_REGISTRY_PASSWORD : readFileSync(file, "utf8").trimEnd();
  if (password !== undefined && password !== "") return { user, password };
  throw new Error(
    "the configuration is not right\n  STILLPOINT_REGISTRY_PASSWORD, or STILLPOINT_REGISTRY_PASSWORD_FILE, is not set",
  );
}
