//! A TCP proxy that stands between two peers and breaks what passes, when told to.

mod connection;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use connection::Switch;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Nobody listens: connecting is refused.
    Refuse,
    /// Connections are accepted, and nothing is ever said on them.
    Hang,
    /// Everything passes, and each answer starts so much later.
    Delay(Duration),
    /// The request passes; the answer breaks off in its middle with a reset.
    Reset,
    /// Every request is answered with HTTP 503, and nothing reaches the other side.
    Unavailable,
    /// Every request is answered as STS does when it throttles, and nothing reaches the other side.
    Throttle,
}

/// The proxy. Dropped, it stops and its connections end.
///
/// ```
/// use practice::proxy::{Mode, Proxy};
/// use std::net::{Ipv4Addr, TcpListener, TcpStream};
///
/// let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
/// let proxy = Proxy::start(Ipv4Addr::LOCALHOST.into(), target.local_addr().unwrap()).unwrap();
/// assert!(TcpStream::connect(proxy.address()).is_ok());
/// proxy.set(Mode::Refuse).unwrap();
/// assert!(TcpStream::connect(proxy.address()).is_err());
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    counted: Arc<AtomicU64>,
    orders: Mutex<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// The way to the thread that accepts: the order, and a byte that wakes it.
#[derive(Debug)]
struct Orders {
    sender: mpsc::Sender<Order>,
    wake: UnixStream,
}

enum Order {
    Set(Mode, mpsc::Sender<io::Result<()>>),
    Stop,
}

impl Proxy {
    /// Listens on a free port of `listen` and passes everything to `target`.
    ///
    /// # Errors
    /// Where no port of that address can be had.
    pub fn start(listen: IpAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((listen, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (wake, woken) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let (sender, orders) = mpsc::channel();
        let counted = Arc::new(AtomicU64::new(0));
        let doorman = Doorman {
            address,
            target,
            listener: Some(listener),
            switch: Arc::new(Switch::new(Mode::Pass)),
            counted: Arc::clone(&counted),
            orders,
            woken,
        };
        let thread =
            thread::Builder::new().name("practice-proxy".into()).spawn(move || doorman.work())?;
        Ok(Self {
            address,
            counted,
            orders: Mutex::new(Orders { sender, wake }),
            thread: Some(thread),
        })
    }

    /// Where it listens, in every mode but [`Mode::Refuse`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the mode. When this returns, connections of the old mode are closed, so that no
    /// kept-alive one escapes the new.
    ///
    /// # Errors
    /// Where the port cannot be had again after [`Mode::Refuse`].
    pub fn set(&self, mode: Mode) -> io::Result<()> {
        let (done, answer) = mpsc::channel();
        tell(&mut self.orders(), Order::Set(mode, done));
        answer.recv().unwrap_or_else(|_| Err(io::Error::other("the proxy has stopped")))
    }

    /// How many connections were accepted so far, in all modes.
    pub fn connections(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        tell(&mut self.orders(), Order::Stop);
        if let Some(thread) = self.thread.take() {
            // It only panics with us in a test that has failed already.
            let _ = thread.join();
        }
    }
}

/// Both fail only when the thread is gone, and then there is nothing to tell.
fn tell(orders: &mut Orders, order: Order) {
    let _ = orders.sender.send(order);
    let _ = orders.wake.write_all(&[1]);
}

/// The thread that accepts.
struct Doorman {
    address: SocketAddr,
    target: SocketAddr,
    listener: Option<TcpListener>,
    switch: Arc<Switch>,
    counted: Arc<AtomicU64>,
    orders: mpsc::Receiver<Order>,
    woken: UnixStream,
}

impl Doorman {
    fn work(mut self) {
        loop {
            self.sleep();
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Set(mode, done) => {
                        // Nobody may be waiting for it any more.
                        let _ = done.send(self.change(mode));
                    }
                    Order::Stop => return self.switch.turn(Mode::Refuse),
                }
            }
            while let Some(Ok((stream, _))) = self.listener.as_ref().map(TcpListener::accept) {
                self.counted.fetch_add(1, Ordering::SeqCst);
                self.serve(stream);
            }
        }
    }

    /// Until somebody connects or gives an order.
    fn sleep(&self) {
        let mut polled = vec![PollFd::new(&self.woken, PollFlags::IN)];
        polled.extend(self.listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN)));
        // Interrupted or not, the loop looks at both again.
        let _ = rustix::event::poll(&mut polled, None);
        while matches!(io::Read::read(&mut &self.woken, &mut [0; 64]), Ok(1..)) {}
    }

    fn change(&mut self, mode: Mode) -> io::Result<()> {
        self.listener = match (self.listener.take(), mode) {
            (_, Mode::Refuse) => None,
            (Some(listener), _) => Some(listener),
            (None, _) => {
                let listener = TcpListener::bind(self.address)?;
                listener.set_nonblocking(true)?;
                Some(listener)
            }
        };
        self.switch.turn(mode);
        Ok(())
    }

    fn serve(&self, stream: TcpStream) {
        let (switch, target) = (Arc::clone(&self.switch), self.target);
        // What goes wrong on one connection is what its client sees; there is nobody else to tell.
        let _ = stream.set_nonblocking(false);
        let _ = thread::Builder::new()
            .name("practice-proxy-connection".into())
            .spawn(move || connection::serve(&switch, &stream, target));
    }
}
