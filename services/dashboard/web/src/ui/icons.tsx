/** Icons of 16 by 16 units. They are decoration: the element around one has the text. */

const PATHS = {
  attach: "M3 4.5l3.5 3.5L3 11.5M8 12h5",
  check: "M3 8.5l3.2 3.2L13 4.8",
  clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM8 4.8V8l2.2 1.6",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h7.2v7.2H6zM10 6V2.8H2.8V10H6",
  cross: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  down: "M3.5 6L8 10.5 12.5 6",
  filter: "M2 3.5h12M4.5 8h7M6.5 12.5h3",
  moon: "M13.4 9.7A5.8 5.8 0 0 1 6.3 2.6a5.8 5.8 0 1 0 7.1 7.1z",
  plus: "M8 3v10M3 8h10",
  question: "M5.7 6a2.3 2.3 0 1 1 3.4 2c-.8.5-1.1.9-1.1 1.7M8 12.3v.1",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.4 10.4l3.3 3.3",
  spinner: "M8 2a6 6 0 1 1-6 6",
  square: "M4 4h8v8H4z",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M3 13l1.2-1.2M11.8 4.2L13 3",
  system: "M2 3h12v8H2zM6 14h4M8 11v3",
  trash: "M2.8 4.2h10.4M6 4V2.6h4V4M4.2 4.4l.6 9h6.4l.6-9",
  up: "M3.5 10L8 5.5l4.5 4.5",
  warning: "M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.7v.1",
} as const;

export type IconName = keyof typeof PATHS;

/** An icon in the colour of the text around it. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon-image" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
