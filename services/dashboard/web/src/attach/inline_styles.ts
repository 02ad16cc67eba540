/** Inline styles of xterm.js under a content security policy that forbids them. */

/**
 * Makes elements that scripts create set their styles through CSSOM, which the policy allows. Returns a function that
 * ends this.
 *
 * xterm.js has `style` elements for its colours, and sets `style` attributes for colours that a program chooses. It
 * creates both with the document of the page, so that its option `documentOverride` does not reach them.
 */
export function replaceInlineStyles(): () => void {
  const createElement = document.createElement.bind(document);
  const replacement = (name: string, options?: ElementCreationOptions): HTMLElement => {
    if (name === "style") {
      return createStyle(createElement("template"));
    }
    const element = createElement(name, options);
    if (name === "span") {
      element.setAttribute = setAttribute;
    }
    return element;
  };
  // Shadows the method of the prototype.
  Object.defineProperty(document, "createElement", { value: replacement, configurable: true });
  return () => {
    Reflect.deleteProperty(document, "createElement");
  };
}

function setAttribute(this: HTMLElement, name: string, value: string): void {
  if (name === "style") {
    this.style.cssText = value;
  } else {
    Element.prototype.setAttribute.call(this, name, value);
  }
}

/** Lets an element that is not visible behave like a `style` element with a style sheet of the document. */
function createStyle(element: HTMLElement): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, "textContent", { set: (css: string) => sheet.replaceSync(css) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}
