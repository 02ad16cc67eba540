/** The search of a log view. */
import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { IconButton } from "../ui/button.js";
import type { LogModel } from "./log_model.js";
import { Toggle } from "./log_toolbar.js";
import type { SearchState } from "./messages.js";

const TYPING_MS = 200;

interface SearchBarProps {
  readonly model: LogModel;
  readonly fieldRef: RefObject<HTMLInputElement | null>;
}

export function SearchBar({ model, fieldRef }: SearchBarProps) {
  const [text, setText] = useState("");
  const [isRegex, setIsRegex] = useState(false);
  const [matchCase, setMatchCase] = useState(false);
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      return undefined;
    }
    const query = text ? { text, isRegex, matchCase } : undefined;
    const timer = setTimeout(() => model.find(query), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, isRegex, matchCase]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter") {
      event.preventDefault();
      void model.step(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      setText("");
      fieldRef.current?.blur();
    }
  };
  const hasMatches = Boolean(model.search.value?.matches);
  return (
    <search class="log-search">
      <input
        ref={fieldRef}
        type="search"
        aria-label="Search the log"
        placeholder="Search the log  /"
        spellcheck={false}
        autocomplete="off"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <Toggle isOn={isRegex} onClick={() => setIsRegex(!isRegex)} help="Use a regular expression">
        Regex
      </Toggle>
      <Toggle isOn={matchCase} onClick={() => setMatchCase(!matchCase)} help="Match upper and lower case">
        Aa
      </Toggle>
      <IconButton
        label="Previous match (N)"
        icon="up"
        disabled={!hasMatches}
        onClick={() => void model.step(-1)}
      />
      <IconButton
        label="Next match (n)"
        icon="down"
        disabled={!hasMatches}
        onClick={() => void model.step(1)}
      />
      <span class="log-count small numeric" role="status" aria-label="Matches">
        {text && matchText(model)}
      </span>
    </search>
  );
}

function matchText(model: LogModel) {
  const search = model.search.value;
  if (!search) {
    return "Searching…";
  }
  if (search.phase === "failed") {
    return <span class="log-search-error">{search.message}</span>;
  }
  return `${countText(search, model.match.value?.ordinal)}${progressText(search, model)}`;
}

function countText({ matches }: SearchState, ordinal: number | undefined): string {
  const total = `${matches.toLocaleString("en")} ${matches === 1 ? "match" : "matches"}`;
  return ordinal === undefined ? total : `${(ordinal + 1).toLocaleString("en")} of ${total}`;
}

function progressText({ phase, searchedRows }: SearchState, model: LogModel): string {
  const rows = model.state.value.rows[model.filter.value];
  return phase === "running" && rows ? `, ${Math.floor((100 * searchedRows) / rows)} % searched` : "";
}
