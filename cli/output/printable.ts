/** Text from a guest or another person as it may be shown: control characters are taken out, lines stay. */
export const printable = (text: string): string => text.replaceAll(/[^\P{Cc}\n]/gu, "�");
