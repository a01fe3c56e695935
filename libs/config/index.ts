export { commonConfig, readConfig } from "./config.ts";
