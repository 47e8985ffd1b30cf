//! Chromium at the end of a wire: Debian's own browser, driven by chromedriver.

use anyhow::{Context, Result, bail, ensure};
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a page may take to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(60);

/// What sticks out on the right, if anything does.
const WIDER: &str = "const room = document.documentElement.clientWidth;\
    if (document.documentElement.scrollWidth <= room) return '';\
    const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > room + 1);\
    return out.map(e => e.tagName + '.' + e.className).slice(-4).join(', ') || 'something';";

/// What a screen reader could not say, or a label does not reach.
const UNNAMED: &str = "const bad = [];\
    const said = e => [...(e.labels ?? [])].map(l => l.textContent).join('') || e.getAttribute('aria-label') || e.textContent;\
    for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a[href], summary'))\
      if (!said(e).trim()) bad.push('no name: ' + e.outerHTML.slice(0, 120));\
    const ids = [...document.querySelectorAll('[id]')].map(e => e.id);\
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) bad.push('twice: #' + id);\
    for (const e of document.querySelectorAll('[aria-labelledby], [aria-describedby]'))\
      for (const id of (e.getAttribute('aria-labelledby') ?? e.getAttribute('aria-describedby')).split(' '))\
        if (!document.getElementById(id)) bad.push('points nowhere: ' + id);\
    if (document.querySelectorAll('h1').length !== 1) bad.push('not one heading');\
    for (const e of document.querySelectorAll('table')) if (!e.caption) bad.push('a table without a caption');\
    for (const e of document.querySelectorAll('img:not([alt])')) bad.push('an image without words');\
    return bad;";

/// One press of the tabulator.
fn tab() -> fantoccini::actions::KeyActions {
    use fantoccini::actions::{InputSource, KeyAction, KeyActions};
    let key = fantoccini::key::Key::Tab.into();
    KeyActions::new("keyboard".to_owned())
        .then(KeyAction::Down { value: key })
        .then(KeyAction::Up { value: key })
}

/// A running chromedriver. Dropping it ends it.
pub(crate) struct Driver {
    _process: Child,
    url: String,
}

impl Driver {
    /// Starts chromedriver on a port that is free.
    pub(crate) async fn start() -> Result<Self> {
        ensure!(installed("chromium"), "there is no chromium: install the Debian package chromium");
        ensure!(
            installed("chromedriver"),
            "there is no chromedriver: install the Debian package chromium-driver"
        );
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver does not start")?;
        let mut lines = BufReader::new(process.stdout.take().context("chromedriver says nothing")?).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(port) = line.split("successfully on port ").nth(1) {
                let url = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Self { _process: process, url });
            }
        }
        bail!("chromedriver ended at once")
    }

    /// Opens a browser of its own with a window of this many pixels; as a phone's with touch, if it is one.
    pub(crate) async fn browser(&self, width: u32, height: u32, phone: bool) -> Result<Browser> {
        let profile = tempfile::tempdir()?;
        let mut options = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--lang=en",
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ] });
        if phone {
            options["mobileEmulation"] = json!({
                "deviceMetrics": { "width": width, "height": height, "pixelRatio": 2.0, "touch": true },
            });
        }
        let mut wanted = Capabilities::new();
        wanted.insert("acceptInsecureCerts".to_owned(), Value::Bool(true));
        wanted.insert("goog:chromeOptions".to_owned(), options);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&self.url)
            .await
            .context("chromium does not start")?;
        Ok(Browser { client, _profile: profile })
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A browser with one page.
pub(crate) struct Browser {
    client: Client,
    _profile: TempDir,
}

impl Browser {
    /// Goes to this address.
    pub(crate) async fn goto(&self, url: &str) -> Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Waits until an element that matches holds this text.
    pub(crate) async fn see(&self, css: &str, text: &str) -> Result<()> {
        const SCRIPT: &str = "return [...document.querySelectorAll(arguments[0])]\
            .some(element => (element.innerText || element.textContent || element.value || '').includes(arguments[1]))";
        self.until(&format!("“{text}” in {css}"), SCRIPT, &[json!(css), json!(text)]).await
    }

    /// Waits until no element matches.
    pub(crate) async fn see_no(&self, css: &str) -> Result<()> {
        const SCRIPT: &str = "return document.querySelector(arguments[0]) === null";
        self.until(&format!("no {css}"), SCRIPT, &[json!(css)]).await
    }

    /// Waits until so many of the pictures that match are drawn, and makes sure that each has the room that it had before.
    pub(crate) async fn see_drawn(&self, css: &str, count: usize) -> Result<()> {
        const SCRIPT: &str = "const all = [...document.querySelectorAll(arguments[0])];\
            const held = e => e.offsetWidth == e.getAttribute('width') && e.offsetHeight == e.getAttribute('height');\
            return all.every(e => e.complete && held(e)) && all.filter(e => e.naturalWidth > 0).length === arguments[1]";
        self.until(&format!("{count} pictures in {css}"), SCRIPT, &[json!(css), json!(count)]).await
    }

    /// How many elements match now.
    pub(crate) async fn count(&self, css: &str) -> Result<usize> {
        Ok(self.client.find_all(Locator::Css(css)).await?.len())
    }

    /// The text of the first element that matches, which may be a field.
    pub(crate) async fn text(&self, css: &str) -> Result<String> {
        const SCRIPT: &str = "const element = document.querySelector(arguments[0]);\
            return element.matches('input, textarea, select') ? element.value : element.innerText";
        self.see(css, "").await?;
        let text = self.client.execute(SCRIPT, vec![json!(css)]).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Presses the first element that matches and holds this text, once it is there.
    pub(crate) async fn press(&self, css: &str, text: &str) -> Result<()> {
        self.see(css, text).await?;
        self.patiently(&format!("press “{text}” in {css}"), async || {
            for element in self.client.find_all(Locator::Css(css)).await? {
                let shown = element.text().await? + &element.prop("value").await?.unwrap_or_default();
                if text.is_empty() || shown.contains(text) {
                    element.click().await?;
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// Fills a field anew.
    pub(crate) async fn fill(&self, css: &str, text: &str) -> Result<()> {
        self.see(css, "").await?;
        self.patiently(&format!("fill {css}"), async || {
            let field = self.client.find(Locator::Css(css)).await?;
            if field.tag_name().await? != "select" && field.attr("type").await?.as_deref() != Some("file") {
                field.clear().await?;
            }
            field.send_keys(text).await?;
            Ok(true)
        })
        .await
    }

    /// Types into a field without emptying it first: as a person does, key by key.
    pub(crate) async fn type_on(&self, css: &str, text: &str) -> Result<()> {
        self.see(css, "").await?;
        // A field that was drawn anew meanwhile has taken nothing.
        self.patiently(&format!("type on {css}"), async || {
            self.client.find(Locator::Css(css)).await?.send_keys(text).await?;
            Ok(true)
        })
        .await
    }

    /// Chooses the entry of a list that begins with this text.
    pub(crate) async fn choose(&self, css: &str, text: &str) -> Result<()> {
        self.press(&format!("{css} option"), text).await
    }

    /// Where the page is.
    pub(crate) async fn address(&self) -> Result<String> {
        Ok(self.client.current_url().await?.to_string())
    }

    /// Keeps what is to be seen, in the folder `screenshots` beside the workspace's crates.
    pub(crate) async fn picture(&self, name: &str) -> Result<()> {
        // Pictures of a movement half way through tell nothing.
        self.until("an end of the movement", "return document.getAnimations().every(a => a.effect.getComputedTiming().iterations === Infinity)", &[])
            .await?;
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(format!("{name}.png")), self.client.screenshot().await?)?)
    }

    /// Keeps the whole page, however long, on a wide screen and on a phone's, and makes sure that it fits both and can be
    /// used without a mouse and without eyes.
    pub(crate) async fn page(&self, name: &str) -> Result<()> {
        for (end, width) in [("", 1366), ("-narrow", 390)] {
            self.client.set_window_size(width, 1000).await?;
            let wide = self.client.execute(WIDER, Vec::new()).await?;
            ensure!(wide.as_str() == Some(""), "{name} is wider than {width} pixels: {wide}");
            let height =
                self.client.execute("return document.documentElement.scrollHeight", Vec::new()).await?;
            let height = u32::try_from(height.as_u64().unwrap_or(1000)).unwrap_or(1000).clamp(1000, 6000);
            self.client.set_window_size(width, height).await?;
            self.client.execute("scrollTo(0, 0)", Vec::new()).await?;
            self.picture(&format!("{name}{end}")).await?;
        }
        self.client.set_window_size(1366, 1000).await?;
        let unnamed = self.client.execute(UNNAMED, Vec::new()).await?;
        ensure!(unnamed.as_array().is_some_and(Vec::is_empty), "{name}: {unnamed}");
        Ok(())
    }

    /// Whether an element that matches can be reached with the keyboard alone.
    pub(crate) async fn tab_to(&self, css: &str) -> Result<()> {
        const HERE: &str = "return document.activeElement?.matches(arguments[0]) ?? false";
        self.client.execute("document.activeElement?.blur()", Vec::new()).await?;
        for _ in 0..60 {
            self.client.perform_actions(tab()).await?;
            if self.client.execute(HERE, vec![json!(css)]).await?.as_bool() == Some(true) {
                return Ok(());
            }
        }
        bail!("the tabulator does not lead to {css}")
    }

    /// Ends the browser.
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.client.close().await?)
    }

    async fn until(&self, what: &str, script: &str, arguments: &[Value]) -> Result<()> {
        self.patiently(what, async || {
            Ok(self.client.execute(script, arguments.to_vec()).await?.as_bool() == Some(true))
        })
        .await
    }

    /// Tries again until it works: pages draw themselves anew at any time.
    async fn patiently(&self, what: &str, attempt: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        loop {
            let outcome = attempt().await;
            if matches!(outcome, Ok(true)) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let page = self.client.execute("return document.body.innerText", Vec::new()).await?;
                let page = page.as_str().unwrap_or_default().to_owned();
                let _ = self.picture_as_it_is("problem").await;
                bail!("not within {PATIENCE:?}: {what}; {:?}; the page reads:\n{page}", outcome.err());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn picture_as_it_is(&self, name: &str) -> Result<()> {
        std::fs::create_dir_all(folder())?;
        Ok(std::fs::write(folder().join(format!("{name}.png")), self.client.screenshot().await?)?)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../screenshots")
}
