/** English or Korean: as the browser says, until the switch says otherwise. */

import { language, LANGUAGE } from "../data/texts";
import type { Language } from "../data/texts";
import { remember } from "../state/memory";
import { button } from "./dom";

const OTHER = { en: "ko", ko: "en" } as const;
const NAMES: Record<Language, [short: string, name: string]> = {
  en: ["EN", "English"],
  ko: ["한국어", "한국어"],
};

/** The page opens anew in the other language, at the view that its address holds. */
export function languageSwitch(): HTMLButtonElement {
  const other = OTHER[language];
  const turn = () => {
    remember(LANGUAGE, other);
    location.reload();
  };
  const [short, name] = NAMES[other];
  return button(short, turn, { lang: other, title: name, aria: { label: name } });
}
