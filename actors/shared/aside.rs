/// What is kept beside a value so that less must be done, and is no part of what the value is: any two are alike.
#[derive(Debug, Clone, Default)]
pub struct Aside<T>(pub T);

impl<T> PartialEq for Aside<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Aside<T> {}
