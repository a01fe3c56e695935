export { address, commonConfig, readConfig } from "./config.ts";
